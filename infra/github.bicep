// Once for each environment, by a person: the identity that a workflow of GitHub deploys with. No secret is made.
//   az deployment sub create -l REGION -f infra/github.bicep -p environmentName=prod repository=OWNER/NAME
targetScope = 'subscription'

@description('Name of the environment, here and in GitHub.')
@allowed(['dev', 'staging', 'prod'])
param environmentName string

@description('Region.')
param location string = deployment().location

@description('Repository, as OWNER/NAME.')
param repository string

@description('Resource group of the application, made when it is missing.')
param resourceGroupName string = 'rg-shadow-hubble-${environmentName}'

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: resourceGroupName
  location: location
}

var subscriptionId = subscription().id

// A deployment at subscription scope needs this much there, and no more.
resource startDeployments 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, 'shadow-hubble-deployments', environmentName)
  properties: {
    roleName: 'Shadow Hubble deployments (${environmentName})'
    description: 'Starts deployments of the subscription and writes the resource group of the application.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Resources/deployments/*'
          'Microsoft.Resources/subscriptions/resourceGroups/read'
          'Microsoft.Resources/subscriptions/resourceGroups/write'
        ]
        notActions: []
      }
    ]
    assignableScopes: [subscriptionId]
  }
}

resource deploy 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(subscription().id, environmentName, startDeployments.id)
  properties: {
    roleDefinitionId: startDeployments.id
    principalId: deployer.outputs.principalId
    principalType: 'ServicePrincipal'
  }
}

module deployer 'modules/deployer.bicep' = {
  name: 'deployer'
  scope: group
  params: {
    environmentName: environmentName
    location: location
    repository: repository
  }
}

@description('Variable AZURE_CLIENT_ID of the environment in GitHub.')
output AZURE_CLIENT_ID string = deployer.outputs.clientId
@description('Variable AZURE_TENANT_ID.')
output AZURE_TENANT_ID string = tenant().tenantId
@description('Variable AZURE_SUBSCRIPTION_ID.')
output AZURE_SUBSCRIPTION_ID string = subscription().subscriptionId
